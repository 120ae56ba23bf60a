-- Where do the `original_k` most relevant components of the original stand in the adversarial map?
--
-- Parameters: original_k
-- Inputs: relevance, adversarials (through whole_map_pairs: successful pairs of which both maps are ok)
-- Grain: one row per method and pair
-- Columns:
--   n: components of a map
--   places [rank]: ranks in the adversarial map of the original's top components, its most relevant one first
with

-- once for each original: it has many adversarial maps
tops as (
    select
        dataset,
        model,
        method,
        image_id,
        list_transform(
            top_components(rank, checked_band(original_k)), lambda component: component + 1
        ) as components
    from comparable_originals
)

select
    dataset,
    model,
    method,
    attack,
    target,
    image_id,
    label,
    len(adversarial_rank) as n,
    list_select(adversarial_rank, tops.components)::integer[] as places
from whole_map_pairs
inner join tops using (dataset, model, method, image_id)
