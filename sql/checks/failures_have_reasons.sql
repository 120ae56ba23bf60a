-- The status of an adversarial example is a known one, and says why exactly where it failed.
select
    dataset,
    model,
    attack,
    target,
    image_id,
    status,
    reason
from adversarials
where
    coalesce(status not in ('success', 'failed', 'already_target', 'kept'), true)
    or (status = 'failed') = (coalesce(reason, '') = '')
