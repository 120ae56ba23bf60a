-- What each map is held against: which maps are compared, and with which.
--
-- Grain: one row per comparable map and reference that is ok. The references of a map are
--   original: the map of its original, explained for the label
--   question: that of its original, explained for the target; of maps of the attack's examples
--   image: that of the adversarial example, explained for the label; of the one explained for the target
--   other target: that of the same image's example for the next target, around in order; of examples
--   example: that of the adversarial example; of what was made from it, rounded and floored
--   step: that of the point before on the way from original to adversarial example; of such points, and of
--     examples
-- `reference_subject`, `reference_explains` and `reference_target` are the reference map's own keys.
with

maps as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id
    from comparable_maps
),

-- a reference that is no original's own map is of a held series itself
everything as (
    select * from maps
    semi join held_series using (dataset, model, method, subject)
    union all
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id
    from comparable_originals
),

-- the points of the way by attack, each with the one before
points as (
    select
        coalesce(control_of, attack) as attack,
        attack as subject,
        control_of is not null as is_between,
        if(control_of is null, 1, fraction) as fraction
    from attacks
    where control_of is null or algorithm = 'path'
),

steps as (
    select
        subject,
        is_between,
        lag(subject) over (partition by attack order by fraction) as before
    from points
),

successes as (
    select
        dataset,
        model,
        attack as subject,
        image_id,
        target,
        coalesce(
            lead(target) over (partition by dataset, model, attack, image_id order by target),
            min(target) over (partition by dataset, model, attack, image_id)
        ) as next
    from attacked
    where status = 'success'
),

of_examples as (
    select
        maps.*,
        successes.next
    from maps
    semi join held_series using (dataset, model, method, subject)
    inner join successes using (dataset, model, subject, target, image_id)
),

asked as (
    select
        *,
        'original' as reference,
        'original' as reference_subject,
        'label' as reference_explains,
        null::integer as reference_target
    from maps
    union all
    select
        * exclude (next),
        'question' as reference,
        'original' as reference_subject,
        'target' as reference_explains,
        target as reference_target
    from of_examples
    union all
    select
        * exclude (next),
        'image' as reference,
        subject as reference_subject,
        'label' as reference_explains,
        target as reference_target
    from of_examples
    where explains = 'target'
    union all
    select
        * exclude (next),
        'other target' as reference,
        subject as reference_subject,
        'target' as reference_explains,
        next as reference_target
    from of_examples
    where explains = 'target' and next != target
    union all
    select
        maps.*,
        'example' as reference,
        attacks.control_of as reference_subject,
        'target' as reference_explains,
        maps.target as reference_target
    from maps
    inner join attacks on maps.subject = attacks.attack
    where attacks.control_of is not null and attacks.algorithm in ('round', 'floor')
    union all
    select
        maps.*,
        'step' as reference,
        steps.before as reference_subject,
        classes.explains as reference_explains,
        maps.target as reference_target
    from maps
    inner join steps using (subject)
    cross join (values ('label'), ('target')) as classes (explains)
    where steps.before is not null and (maps.explains = 'target' or steps.is_between)
)

select asked.*
from asked
semi join everything as references_there
    on
        asked.dataset = references_there.dataset
        and asked.model = references_there.model
        and asked.method = references_there.method
        and asked.image_id = references_there.image_id
        and asked.reference_subject = references_there.subject
        and asked.reference_explains = references_there.explains
        and asked.reference_target is not distinct from references_there.target
