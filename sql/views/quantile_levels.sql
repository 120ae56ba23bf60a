-- The levels at which quantiles are reported: of all values those of Tables 3 and 4, of each sign those of the
-- largest 1 % of the positive and the smallest 1 % of the negative values, with what lies inside.
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
