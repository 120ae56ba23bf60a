-- The images that the bootstrap draws from, and the place of each in lists of weights and of sums.
--
-- Grain: one row per dataset and image whose original has a map, whatever its status. Images of all datasets
-- stand in one list: an image counts 0 in sums that are not of its dataset. No image where there is nothing to
-- draw for: weights of 9,000 images take seconds.
select
    dataset,
    image_id,
    row_number() over (order by dataset, image_id) as place
from (
    select distinct
        dataset,
        image_id
    from relevance
    where
        subject = 'original'
        and (exists (from controlled_attacks) or exists (from randomisations))
) as images
