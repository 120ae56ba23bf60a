-- The class predicted is that of the largest logit, and correct where it is the label.
select
    dataset,
    model,
    image_id,
    label,
    predicted,
    correct
from predictions
where
    coalesce(logits[predicted + 1] != list_max(logits), true)
    or correct is distinct from (predicted = label)
