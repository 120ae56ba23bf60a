-- Which pairs are compared (see whole_map_pairs), without the maps.
--
-- Grain: one row per method and pair. `n` counts the components of a map; taken from the image, since the
-- length of a vector cannot be had without reading it.
with

sizes as (
    select
        dataset,
        image_id,
        height * width * channels as n
    from images
)

select
    dataset,
    model,
    method,
    attack,
    target,
    image_id,
    label,
    n,
    original_ties_at_31,
    original_ties_at_307,
    adversarial_ties_at_31,
    adversarial_ties_at_307
from whole_map_pairs
inner join sizes using (dataset, image_id)
