-- Only correctly classified images are attacked, and never towards their own label.
select
    pairs.dataset,
    pairs.model,
    pairs.attack,
    pairs.target,
    pairs.image_id
from adversarials as pairs
left join predictions using (dataset, model, image_id)
where pairs.target = pairs.label or predictions.correct is distinct from true
