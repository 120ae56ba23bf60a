-- A success is of its target by its own logits, and the second class is the largest of the others.
with

logit_of as (
    select
        dataset,
        model,
        attack,
        target,
        image_id,
        status,
        second_class,
        logits[target + 1] as of_target,
        logits[second_class + 1] as of_second,
        list_max(logits[1:target] || logits[target + 2:]) as of_others
    from adversarials
)

select
    dataset,
    model,
    attack,
    target,
    image_id,
    status,
    second_class
from logit_of
where
    coalesce(second_class = target, true)
    or of_second is distinct from of_others
    or (status = 'success' and of_target < of_others)
