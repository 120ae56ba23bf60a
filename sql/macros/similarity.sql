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
