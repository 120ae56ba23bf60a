-- The ranks of an ok map put it in descending order, ties by component, each place once; others have none.
--
-- rank_order is a function of this package (sql/map_checks.py).
--
-- Unit: map
with

ordered as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id,
        case
            when (status = 'ok') = (rank is null) then 'ranks, or none, against the status'
            when status = 'ok' then rank_order(relevance, rank)
            else 'in order'
        end as rank_order
    from relevance
)

select *
from ordered
where rank_order != 'in order'
