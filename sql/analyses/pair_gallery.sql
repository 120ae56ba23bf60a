-- What do adversarial examples look like beside their originals: a fixed sample of pairs.
--
-- Inputs: adversarials, images, predictions
-- Grain: one row per sampled pair: for each attack one success a class pair, at most 90 (see sampled_pairs)
-- Paper: Fig. 3
-- Columns:
--   place: place of the pair in the sample, from 1
--   predicted_original [class]: class of the original's largest logit
--   original_pixels [grey level]: values 0..255, order height, width, channel
--   adversarial_pixels [1 = white]: the delivered image in [0, 1], same order
with

sampled as (
    select * from sampled_pairs
),

pairs as (
    select
        sampled.*,
        adversarials.pixels,
        adversarials.target_probability,
        adversarials.l2,
        adversarials.linf
    from adversarials
    inner join sampled using (dataset, model, attack, target, image_id)
)

select
    pairs.dataset,
    pairs.model,
    pairs.attack,
    pairs.place,
    pairs.image_id,
    pairs.label,
    pairs.target,
    predictions.predicted as predicted_original,
    images.pixels as original_pixels,
    pairs.pixels as adversarial_pixels,
    pairs.target_probability,
    pairs.l2,
    pairs.linf,
    images.height,
    images.width,
    images.channels
from images
inner join pairs using (dataset, image_id)
left join predictions using (dataset, model, image_id)
order by pairs.dataset, pairs.model, pairs.attack, pairs.place
