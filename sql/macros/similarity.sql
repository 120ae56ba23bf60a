-- How alike two maps are. Null where a map is null.

-- The values less their mean; the list of one keeps the mean, which the inner lambda would compute anew for
-- each value.
create or replace macro centred(relevance) as
list_transform(
    [list_avg(relevance)],
    lambda mean: list_transform(relevance, lambda value: value::double - mean)
)[1];

-- Pearson's correlation of the values of two maps; null where one is constant or not finite.
create or replace macro pearson(relevance_a, relevance_b) as
case
    when
        list_min(relevance_a) < list_max(relevance_a)
        and list_min(relevance_b) < list_max(relevance_b)
        and isfinite(list_sum(relevance_a) + list_sum(relevance_b))
        then list_cosine_similarity(centred(relevance_a), centred(relevance_b))
end;

-- Spearman's rho of two stored ranks, 1 - 6 sum(shift^2) / (n (n^2 - 1)): as if maps had no ties, which the
-- stored ranks break by component; null where n = 1.
create or replace macro spearman(rank_a, rank_b) as
1 - 6 * list_inner_product(rank_shift(rank_a, rank_b)::double[], rank_shift(rank_a, rank_b)::double[])
/ nullif(len(rank_a) * (len(rank_a)::double ** 2 - 1), 0);

-- Components that are among the best `k` places of both.
create or replace macro shared_top(rank_a, rank_b, k) as
len(
    list_filter(
        list_zip(rank_a::integer[], rank_b::integer[]), lambda places: places[1] < k and places[2] < k
    )
)::integer;

-- Ranks of a map multiplied by the sign of the logit that it starts from: a negative one turns the order.
create or replace macro signed_rank(rank, start) as
list_transform(rank::integer[], lambda place: case when start < 0 then len(rank) - 1 - place else place end);

-- Rank-biased overlap of two ranks (Webber, Moffat and Zobel 2010, ACM Transactions on Information Systems
-- 28(4), article 20): (1 - p) sum over depths d of p^(d-1) times the share of the best d places that is
-- common (equation 7), with what lies beyond the n-th place extrapolated (equation 32), where both have
-- everything in common. A component adds what all depths from its worse rank on add: `weights` are those of
-- rank_biased_weights(p, n).
create or replace macro rank_biased_overlap(rank_a, rank_b, weights) as
list_sum(
    list_transform(
        list_zip(rank_a::integer[], rank_b::integer[]),
        lambda places: weights[greatest(places[1], places[2]) + 1]
    )
);

-- By worse rank, from 0: (1 - p) times the sum over depths d > rank of p^(d-1) / d, and an n-th of p^n.
create or replace macro rank_biased_weights(p, n) as
list_transform(
    [list_transform(range(n), lambda place: p ** place / (place + 1))],
    lambda terms: list_transform(
        range(n), lambda place: (1 - p) * list_sum(terms[place + 1:]) + p ** n / n
    )
)[1];

-- The persistence p with which the best k places carry 86 % of the weight of rank-biased overlap (equation
-- 21: 0.86 for p = 0.9 and k = 10, 0.85 for many).
create or replace macro persistence(k) as 1 - 1 / k::double;

-- Rank-biased overlap that two unrelated maps have: a share d / n of the best d places is common.
create or replace macro rank_biased_chance(p, n) as
(1 - (n + 1) * p ** n + n * p ** (n + 1)) / ((1 - p) * n) + p ** n;

-- Whether maps of a method turn their sign with the logit that they start from: LRP whose rule at the output
-- shares it out by shares that are the same whatever its sign. LRP-0, LRP-epsilon and LRP-gamma divide by a
-- sum of the logit's sign, which so cancels: LRP-0 is input x gradient. Of rules by layer position the first
-- is that of the output.
create or replace macro turns_with_logit(method) as
regexp_matches(method, '^(published-)?lrp-')
and not regexp_matches(method, '^(published-)?lrp-(0(-|$)|epsilon-|gamma-)');
