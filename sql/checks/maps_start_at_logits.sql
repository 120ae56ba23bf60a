-- A map starts at the logit that the network gives the explained class of that image: it is of these pixels.
--
-- Otherwise the example, or the prediction, was made again after the map, and came out as another. A forward
-- pass in a batch of another size rounds otherwise: of 172,504 maps of the paper's released examples none was
-- off by more than 1.3e-6 of its image's largest logit. Maps from elsewhere say themselves where they start;
-- what a randomised network answers is not kept.
with

elsewhere as (
    select method from methods
    where family = 'imported'
),

computed as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id,
        explained_class,
        start
    from relevance
    anti join randomisations using (model, subject)
    anti join elsewhere using (method)
),

answered as (
    select
        computed.*,
        predictions.logits
    from computed
    inner join predictions using (dataset, model, image_id)
    where subject = 'original'
    union all
    select
        computed.*,
        pairs.logits
    from computed
    inner join adversarials as pairs
        on
            computed.dataset = pairs.dataset
            and computed.model = pairs.model
            and computed.subject = pairs.attack
            and computed.target = pairs.target
            and computed.image_id = pairs.image_id
)

select
    * exclude (logits),
    logits[explained_class + 1] as logit
from answered
where
    start is distinct from logit
    -- not finite: no gap is within any bound
    and coalesce(
        not (isfinite(start) and isfinite(logit))
        or abs(start::double - logit) > 1e-4 * greatest(list_max(logits), -list_min(logits)),
        true
    )
