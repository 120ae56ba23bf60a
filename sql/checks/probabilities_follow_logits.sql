-- The probabilities of target and second class are the softmax of the logits at their places; with those of
-- the other classes they sum to 1.
--
-- An attempt whose logits are not finite has none.
with

powers as (
    select
        dataset,
        model,
        attack,
        target,
        image_id,
        target_probability,
        second_class,
        second_probability,
        list_transform(logits, lambda logit: exp(logit::double - list_max(logits)::double)) as power
    from adversarials
    where isfinite(list_sum(logits::double[]))
),

probabilities as (
    select
        * exclude (power),
        power[target + 1] / list_sum(power) as of_target,
        power[second_class + 1] / list_sum(power) as of_second
    from powers
)

select *
from probabilities
where
    coalesce(abs(target_probability::double - of_target) > 1e-5, true)
    or coalesce(abs(second_probability::double - of_second) > 1e-5, true)
    or target_probability::double + second_probability::double > 1 + 1e-6
