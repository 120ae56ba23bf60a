-- How often does the attack succeed from each label to each target, and how large is the change?
--
-- Inputs: adversarials, attacks
-- Grain: one row per dataset, model, attack, label and target (class pair)
-- Paper: section on adversarial examples (success rate 96.61 % over all class pairs)
-- Columns:
--   pairs: attacked pairs, failures included; of an untargeted attack all images of the label, each of which
--     could have come to any class (target = label: those that kept it)
--   successes: pairs of status success
--   success_rate [share]: successes / pairs
--   median_target_probability: median over successes of the target's softmax probability
--   median_l1 [1 = white]: median over successes of the sum of |change|
--   median_l2 [1 = white]: median over successes of the Euclidean norm of the change
--   median_linf [1 = white]: median over successes of the largest |change|
with

counted as (
    select
        pairs.dataset,
        pairs.model,
        pairs.attack,
        attacks.targeted,
        pairs.label,
        pairs.target,
        count(*) as ended,
        count(*) filter (where pairs.status = 'success') as successes,
        quantile_cont(pairs.target_probability::double, 0.5) filter (where pairs.status = 'success')
            as median_target_probability,
        quantile_cont(pairs.l1::double, 0.5) filter (where pairs.status = 'success') as median_l1,
        quantile_cont(pairs.l2::double, 0.5) filter (where pairs.status = 'success') as median_l2,
        quantile_cont(pairs.linf::double, 0.5) filter (where pairs.status = 'success') as median_linf
    from attacked as pairs
    left join attacks using (attack)
    group by all
)

select
    dataset,
    model,
    attack,
    targeted,
    label,
    target,
    case
        when targeted is not false then ended
        else sum(ended) over (partition by dataset, model, attack, label)
    end::bigint as pairs,
    successes,
    successes / pairs as success_rate,
    median_target_probability,
    median_l1,
    median_l2,
    median_linf
from counted
order by dataset, model, attack, label, target
