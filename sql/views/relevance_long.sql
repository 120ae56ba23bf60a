-- Every relevance map as rows: which component is how relevant, and where in the image it stands.
--
-- Inputs: relevance, images
-- Grain: one row per component of a map, maps of every status. A map of the paper has 3072 rows: name a
-- method, a subject and, for an attack, a target, so that only their files are read.
-- Columns:
--   component: its number from 0, (y * width + x) * channels + channel
--   y [pixel]: row from the top, from 0; null where the image is not in `images`, as x, channel and its size
--   x [pixel]: column from the left, from 0
--   channel: colour channel, from 0
--   relevance [scale]: relevance of the component, over the map's largest |value|
--   rank: place of the component, 0 = most relevant, signed so that ranks can be subtracted; null unless ok
with

located as (
    select
        maps.*,
        images.height,
        images.width,
        images.channels
    from relevance as maps
    left join images using (dataset, image_id)
),

components as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id,
        label,
        status,
        height,
        width,
        channels,
        unnest(range(len(relevance)))::integer as component,
        unnest(relevance) as relevance,
        unnest(rank)::integer as rank
    from located
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    image_id,
    label,
    status,
    height,
    width,
    channels,
    component,
    component_y(component, width, channels) as y,
    component_x(component, width, channels) as x,
    component_channel(component, channels) as channel,
    relevance,
    rank
from components
