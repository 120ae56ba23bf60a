-- Pixels and maps have height * width * channels values.
select
    images.dataset,
    images.image_id,
    len(images.pixels) as pixel_values,
    images.height * images.width * images.channels as n,
    null as map_values
from images
where pixel_values != n
union all
select
    maps.dataset,
    maps.image_id,
    len(images.pixels) as pixel_values,
    images.height * images.width * images.channels as n,
    len(maps.relevance) as map_values
from relevance as maps
inner join images using (dataset, image_id)
where map_values != n
