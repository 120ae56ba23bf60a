-- Between which classes are the successes of which the network is least sure?
--
-- Inputs: adversarials, published_figures
-- Grain: one row per dataset, model, attack, threshold, label and target (class pair) with a success
-- Paper: section 4.1 (examples whose target has a probability below the quantile .005 = 0.5482)
-- Columns:
--   threshold_of: paper (0.5482, the quantile 0.005 that it prints) or study (the quantile 0.005 of these
--     successes of the attack, all class pairs together)
--   threshold: that probability
--   successes: pairs of status success of the class pair
--   examples: those whose target probability lies below the threshold
--   share [share]: examples / successes
with

successes as (
    select
        dataset,
        model,
        attack,
        label,
        target,
        target_probability::double as probability
    from attacked
    where status = 'success'
),

printed as (
    select value as threshold
    from published_figures
    where statistic = 'target_probability_quantile' and level = 0.005::double
),

own as (
    select
        dataset,
        model,
        attack,
        quantile_cont(probability, 0.005) as threshold
    from successes
    group by all
),

thresholds as (
    select
        own.dataset,
        own.model,
        own.attack,
        'paper' as threshold_of,
        printed.threshold
    from own
    cross join printed
    union all
    select
        dataset,
        model,
        attack,
        'study' as threshold_of,
        threshold
    from own
)

select
    dataset,
    model,
    attack,
    thresholds.threshold_of,
    thresholds.threshold,
    successes.label,
    successes.target,
    count(*) as successes,
    count(*) filter (where successes.probability < thresholds.threshold) as examples,
    examples / count(*) as share
from successes
inner join thresholds using (dataset, model, attack)
group by all
order by dataset, model, attack, thresholds.threshold_of, successes.label, successes.target
