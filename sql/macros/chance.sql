-- What two maps have in common that have nothing to do with each other: one is as good as the other with its
-- `n` components in any order.

-- Share of the best `k` places of one that are among the best `k` of the other: of k components drawn without
-- replacement a share k / n is among k marked ones (hypergeometric distribution, Feller 1968, An Introduction
-- to Probability Theory and Its Applications, volume 1, section II.6 and exercise IX.9.18).
create or replace macro overlap_chance(k, n) as k / n::double;

-- Variance of that share between maps.
create or replace macro overlap_chance_variance(k, n) as
if(n > 1, (k / n::double) * (1 - k / n::double) * (n - k) / (n - 1) / k, 0);

-- Mean over the best `k` places of the rank in the other map less their own: the other rank is uniform on
-- 0 .. n - 1 (discrete uniform distribution), whose mean is (n - 1) / 2; their own is (k - 1) / 2 on average.
create or replace macro shift_chance(k, n) as (n - k) / 2::double;

-- Variance of that mean between maps: (n^2 - 1) / 12 is that of one rank; k of them are drawn without
-- replacement.
create or replace macro shift_chance_variance(k, n) as (n + 1) * (n - k) / (12 * k)::double;

-- Variance of Spearman's rho between maps, whose mean is 0 (Kendall and Gibbons 1990, Rank Correlation
-- Methods, section 4.14).
create or replace macro spearman_chance_variance(n) as 1 / nullif(n - 1, 0)::double;
