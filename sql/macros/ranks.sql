-- Ranks. A `rank` is a list that holds the place of each component, 0 = most relevant, as `relevance.rank`
-- does; where one is null (maps that are not ok have none), so is what is asked of it.

-- The components, numbered from 0, of the `k` best places, in order of place. A permutation has no ties, so
-- list_grade_up, which is unstable on ties, has one answer only.
create or replace macro top_components(rank, k) as
list_select(
    list_where(range(len(rank)), list_transform(rank, lambda place: coalesce(place < k, false)))::integer[],
    list_grade_up(list_filter(rank, lambda place: place < k))
);

-- Share of the top `k` components of a that are among the top `k`, or `adversarial_k`, of b; null for a k
-- below 1. Two unrelated maps of n components share adversarial_k / n.
create or replace macro overlap(rank_a, rank_b, k, adversarial_k := null) as
list_inner_product(
    list_transform(rank_a, lambda place: coalesce(place < k, false)::double),
    list_transform(rank_b, lambda place: coalesce(place < coalesce(adversarial_k, k), false)::double)
) / case when k >= 1 then least(k, len(rank_a)) end;

-- By how many places each component moved: rank in b - rank in a, positive = down, in order of component.
-- With a `k` of a's top k only, in order of place in a, which is the order of top_components(rank_a, k).
create or replace macro rank_shift(rank_a, rank_b, k := null) as
case
    when rank_a is not null and rank_b is not null
        then list_transform(
            case
                when k is null then list_zip(rank_a::integer[], rank_b::integer[])
                else list_zip(
                    range(least(k, len(rank_a)))::integer[],
                    list_select(
                        rank_b::integer[],
                        list_transform(top_components(rank_a, k), lambda component: component + 1)
                    )
                )
            end,
            lambda places: places[2] - places[1]
        )
end;

-- `k` where it is a number of components. A share of n components is band_size(share, n) of them.
create or replace macro checked_band(k) as
case
    when k >= 1 and k = floor(k) then k::integer
    else error('a band is a number of components, 1 or more; for a share give band_size(share, n)')
end;
