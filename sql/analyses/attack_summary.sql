-- How often does the attack succeed from each label to each target, and how large is the change?
--
-- Inputs: adversarials
-- Grain: one row per dataset, model, attack, label and target (class pair)
-- Paper: section on adversarial examples (success rate 96.61 % over all class pairs)
-- Columns:
--   pairs: attacked pairs, failures included
--   successes: pairs of status success
--   success_rate [share]: successes / pairs
--   median_target_probability: median over successes of the target's softmax probability
--   median_l1 [1 = white]: median over successes of the sum of |change|
--   median_l2 [1 = white]: median over successes of the Euclidean norm of the change
--   median_linf [1 = white]: median over successes of the largest |change|
select
    dataset,
    model,
    attack,
    label,
    target,
    count(*) as pairs,
    count(*) filter (where status = 'success') as successes,
    successes / pairs as success_rate,
    quantile_cont(target_probability::double, 0.5) filter (where status = 'success')
        as median_target_probability,
    quantile_cont(l1::double, 0.5) filter (where status = 'success') as median_l1,
    quantile_cont(l2::double, 0.5) filter (where status = 'success') as median_l2,
    quantile_cont(linf::double, 0.5) filter (where status = 'success') as median_linf
from adversarials
group by dataset, model, attack, label, target
order by dataset, model, attack, label, target
