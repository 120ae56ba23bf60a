-- How well does each attack do overall, how sure is the network of the target, and what does a pair cost?
--
-- Inputs: adversarials, attacks
-- Grain: one row per dataset, model and attack
-- Paper: section on adversarial examples (77,402 examples, success rate 96.61 %, 99 % of them with a target
-- probability above 0.9337; quantiles .005 = 0.5482 and .001 = 0.2662)
-- Columns:
--   algorithm: as in attacks; imported: pairs are what was delivered, how many others failed is not known
--   images: images attacked
--   pairs: attacked pairs (image, target), failures included; of an untargeted attack images
--   successes: pairs of status success
--   failed: pairs of status failed
--   already_target: pairs whose image was already classified as the target
--   success_rate [share]: successes / pairs
--   second_is_label [share]: successes whose second class is the image's label
--   target_probability_q001: quantile 0.001 of the target's probability over successes
--   target_probability_q005: quantile 0.005 of the same
--   target_probability_q500: median of the same
--   median_second_probability: median over successes of the second class's probability
--   median_l2 [1 = white]: median over successes of the Euclidean norm of the change
--   median_linf [1 = white]: median over successes of the largest |change|
--   mean_gradient_calls: evaluations of loss and gradient, mean over all pairs
--   mean_forward_calls: evaluations without gradient, mean over all pairs
select
    dataset,
    model,
    attack,
    any_value(algorithm) as algorithm,
    any_value(targeted) as targeted,
    count(distinct image_id) as images,
    count(*) as pairs,
    count(*) filter (where status = 'success') as successes,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'already_target') as already_target,
    successes / pairs as success_rate,
    count(*) filter (where status = 'success' and second_class = label) / nullif(successes, 0)
        as second_is_label,
    quantile_cont(target_probability::double, 0.001) filter (where status = 'success')
        as target_probability_q001,
    quantile_cont(target_probability::double, 0.005) filter (where status = 'success')
        as target_probability_q005,
    quantile_cont(target_probability::double, 0.5) filter (where status = 'success')
        as target_probability_q500,
    quantile_cont(second_probability::double, 0.5) filter (where status = 'success')
        as median_second_probability,
    quantile_cont(l2::double, 0.5) filter (where status = 'success') as median_l2,
    quantile_cont(linf::double, 0.5) filter (where status = 'success') as median_linf,
    avg(gradient_calls) as mean_gradient_calls,
    avg(forward_calls) as mean_forward_calls
from attacked
left join attacks using (attack)
group by dataset, model, attack
order by dataset, model, attack
