-- The pairs that the galleries show: for each attack and label the success of smallest image_id, and of its
-- targets the next class after the label (cyclic) that succeeded, so that targets vary over labels.
--
-- Grain: one row per sampled pair, at most 10 an attack; `place` counts them from 1.
with

successes as (
    select
        dataset,
        model,
        attack,
        image_id,
        label,
        target,
        (target - label + len(logits)) % len(logits) as classes_ahead
    from adversarials
    where status = 'success'
),

one_a_label as (
    select * from successes
    qualify row_number() over (
        partition by dataset, model, attack, label
        order by image_id, classes_ahead
    ) = 1
)

select
    dataset,
    model,
    attack,
    image_id,
    label,
    target,
    row_number() over (
        partition by dataset, model, attack
        order by label
    ) as place
from one_a_label
qualify place <= 10
