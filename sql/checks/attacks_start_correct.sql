-- Only correctly classified images are attacked, and never towards their own label.
--
-- Where an untargeted attack failed, the class reached is the label.
select
    pairs.dataset,
    pairs.model,
    pairs.attack,
    pairs.target,
    pairs.image_id
from adversarials as pairs
left join predictions using (dataset, model, image_id)
left join attacks using (attack)
where
    predictions.correct is distinct from true
    or (pairs.target = pairs.label and (pairs.status != 'failed' or attacks.targeted is distinct from false))
