-- Which classes come after the target: how often the true one, and how do they share what is left of the
-- probability?
--
-- Inputs: adversarials
-- Grain: one row per dataset, model and attack; none where nothing succeeded
-- Paper: section 4.1 (the second and third class of the adversarial examples)
-- Columns:
--   successes: pairs of status success
--   second_is_label [share]: successes whose second class is the image's label
--   third_is_label [share]: successes whose third class is the image's label
--   mean_second_share [share]: mean of the second class's part of 1 - p, p the target's probability: softmax
--     of the logits of all classes but the target, in double
--   median_second_share [share]: median of the same
--   mean_third_share [share]: mean of the third class's part; null where there are two classes
--   median_third_share [share]: median of the same
with

successes as (
    select
        dataset,
        model,
        attack,
        label,
        second_class,
        logits[label + 1]::double as of_label,
        -- largest first, the target left out
        list_reverse_sort(logits[1:target] || logits[target + 2:])::double[] as others
    from attacked
    where status = 'success'
),

shared as (
    select
        dataset,
        model,
        attack,
        label = second_class as label_is_second,
        not label_is_second and len(list_filter(others, lambda x: x > of_label)) <= 1 as label_is_third,
        1 / list_sum(list_transform(others, lambda x: exp(x - others[1]))) as second_share,
        second_share * exp(others[2] - others[1]) as third_share
    from successes
)

select
    dataset,
    model,
    attack,
    count(*) as successes,
    count(*) filter (where label_is_second) / count(*) as second_is_label,
    count(*) filter (where label_is_third) / count(*) as third_is_label,
    avg(second_share) as mean_second_share,
    quantile_cont(second_share, 0.5) as median_second_share,
    avg(third_share) as mean_third_share,
    quantile_cont(third_share, 0.5) as median_third_share
from shared
group by dataset, model, attack
order by dataset, model, attack
