-- The pairs that the galleries show: for each attack and class pair (label, target) the success of smallest
-- image_id. `place` counts them from 1, in turns: each turn has one pair a label. A label's pairs take turns
-- by image_id, then by target, beginning with the class after the label (cyclic), so that targets vary.
--
-- Grain: one row per sampled pair. An attack has at most 90 (all class pairs of ten classes), and fewer where
-- there are many methods and attacks: about 1,300 maps of adversarial examples in all, but never under 5.
with

first_images as (
    select
        dataset,
        model,
        attack,
        label,
        target,
        min(image_id) as image_id
    from attacked
    where status = 'success'
    group by dataset, model, attack, label, target
),

in_turns as (
    select
        *,
        row_number() over (
            partition by dataset, model, attack, label
            order by image_id, target < label, target
        ) as turn
    from first_images
),

in_places as (
    select
        *,
        row_number() over (
            partition by dataset, model, attack
            order by turn, label
        ) as place
    from in_turns
),

attack_counts as (
    select
        dataset,
        model,
        count(distinct attack) as attacks
    from first_images
    group by dataset, model
),

method_counts as (
    select
        dataset,
        model,
        count(distinct method) as methods
    from relevance
    where subject = 'original' and explains = 'label'
    group by dataset, model
)

select
    in_places.dataset,
    in_places.model,
    in_places.attack,
    in_places.image_id,
    in_places.label,
    in_places.target,
    in_places.place
from in_places
inner join attack_counts using (dataset, model)
left join method_counts using (dataset, model)
where place <= least(90, greatest(5, 1300 // (attacks * coalesce(methods, 1))))
