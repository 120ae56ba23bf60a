-- Why did attacks fail, and how near did their best attempts come?
--
-- Inputs: adversarials
-- Grain: one row per dataset, model, attack and reason; none where everything succeeded
-- Paper: section on adversarial examples (3.39 % of the attacks failed, no reason given)
-- Columns:
--   pairs: pairs that failed for this reason
--   share [share]: of all pairs of the attack
--   median_target_probability: median of the target's probability on their best attempts
with

failures as (
    select
        dataset,
        model,
        attack,
        reason,
        count(*) as pairs,
        quantile_cont(target_probability::double, 0.5) as median_target_probability
    from attacked
    where status = 'failed'
    group by all
),

totals as (
    select
        dataset,
        model,
        attack,
        count(*) as total
    from attacked
    group by all
)

select
    dataset,
    model,
    attack,
    reason,
    pairs,
    pairs / total as share,
    median_target_probability
from failures
inner join totals using (dataset, model, attack)
order by dataset asc, model asc, attack asc, pairs desc, reason asc
