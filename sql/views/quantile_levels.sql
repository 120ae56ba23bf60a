-- The levels at which quantiles are reported: of all values those of Tables 3 and 4; of the positive and of
-- the negative values those where their outermost 1 % begin, and some inside.
--
-- Grain: one row per sign and level.
select
    'all' as sign,
    unnest(relevance_levels()) as level
union all
select
    'negative' as sign,
    unnest([0.01, 0.1, 0.5]::double[]) as level
union all
select
    'positive' as sign,
    unnest([0.5, 0.9, 0.99]::double[]) as level
