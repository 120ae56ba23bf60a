-- The shape of a dataset's images, and so of its maps.
--
-- Grain: one row per dataset.
select
    dataset,
    min(height) as height,
    min(width) as width,
    min(channels) as channels
from images
group by dataset
