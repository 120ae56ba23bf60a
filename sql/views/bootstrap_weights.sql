-- How often each replicate of the bootstrap counts each image: see sql/macros/bootstrap.sql.
--
-- Grain: one row per dataset and replicate; `weights` in order of the images' places (bootstrap_images), so
-- that a replicate's sum over images is an inner product.
select
    images.dataset,
    draws.replicate,
    list(
        poisson_weight(bootstrap_draw(images.image_id, draws.replicate))::double order by images.place
    ) as weights
from bootstrap_images as images
cross join range(bootstrap_replicates()) as draws (replicate)
group by images.dataset, draws.replicate
