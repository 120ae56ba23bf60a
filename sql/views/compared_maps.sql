-- Each map beside each map that it is held against, with the vectors of both.
--
-- Grain: one row per comparable map and reference, see map_references. Columns that begin with `other_` are
-- of the reference. Name the columns that you need: vectors that nobody asks for are not read.
with

everything as (
    select * from comparable_maps
    union all by name
    select * from comparable_originals
)

select
    held.*,
    maps.label,
    maps.start,
    maps.ties_at_31,
    maps.ties_at_307,
    maps.relevance,
    maps.rank,
    others.start as other_start,
    others.ties_at_31 as other_ties_at_31,
    others.ties_at_307 as other_ties_at_307,
    others.relevance as other_relevance,
    others.rank as other_rank
from everything as maps
inner join map_references as held
    on
        maps.dataset = held.dataset
        and maps.model = held.model
        and maps.method = held.method
        and maps.subject = held.subject
        and maps.explains = held.explains
        and maps.target is not distinct from held.target
        and maps.image_id = held.image_id
inner join everything as others
    on
        held.dataset = others.dataset
        and held.model = others.model
        and held.method = others.method
        and held.reference_subject = others.subject
        and held.reference_explains = others.explains
        and held.reference_target is not distinct from others.target
        and held.image_id = others.image_id
