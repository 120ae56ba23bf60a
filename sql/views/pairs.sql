-- Every attacked pair: the original on the left, what the attack made of it on the right.
--
-- Inputs: adversarials, images, predictions
-- Grain: one row per attacked pair (image, target), or image of an untargeted attack, failures included
-- Columns:
--   predicted [class]: class of the original's largest logit
--   original_pixels [1 = white]: the original in [0, 1] (`images.pixels` / 255), to compare with the next
--   adversarial_pixels [1 = white]: the delivered image in [0, 1], same order; what `adversarials` says of
--     it, c and calls included, follows under the same names
--   original_logits: pre-softmax outputs for the original
--   adversarial_logits: the same for the delivered image
select
    adversarials.dataset,
    adversarials.model,
    adversarials.attack,
    adversarials.target,
    adversarials.image_id,
    adversarials.label,
    predictions.predicted,
    adversarials.status,
    adversarials.reason,
    images.height,
    images.width,
    images.channels,
    list_transform(images.pixels, lambda level: level::float / 255::float) as original_pixels,
    adversarials.pixels as adversarial_pixels,
    predictions.logits as original_logits,
    adversarials.logits as adversarial_logits,
    adversarials.target_probability,
    adversarials.second_class,
    adversarials.second_probability,
    adversarials.l1,
    adversarials.l2,
    adversarials.linf,
    adversarials.c,
    adversarials.iterations,
    adversarials.gradient_calls,
    adversarials.forward_calls
from adversarials
left join images using (dataset, image_id)
left join predictions using (dataset, model, image_id)
