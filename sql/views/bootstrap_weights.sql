-- How often each replicate of the bootstrap counts each image: see sql/macros/bootstrap.sql.
--
-- Grain: one row per replicate; `weights` in order of the images' places (bootstrap_images), so that a
-- replicate's sum over images is an inner product. Cross join it: another join copies lists for every row.
select
    draws.replicate,
    list(
        poisson_weight(bootstrap_draw(images.image_id, draws.replicate))::double order by images.place
    ) as weights
from bootstrap_images as images
cross join range(bootstrap_replicates()) as draws (replicate)
group by draws.replicate
