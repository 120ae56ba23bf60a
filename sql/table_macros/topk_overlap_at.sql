-- Do the top `original_k` components of the original stay in the top `adversarial_k` of the adversarial map?
-- As topk_overlap, for bands of any size. A share of n components is band_size(share, n) of them:
-- topk_overlap_at(band_size(0.01, 3072), band_size(0.1, 3072)) is "1 % in 10 %".
--
-- Parameters: original_k, adversarial_k
-- Inputs: relevance, adversarials (through adversarial_places)
-- Grain: one row per dataset, model, method and attack
-- Columns:
--   pairs: pairs compared
--   overlap [share]: mean over pairs of the share of the original's band that is in the adversarial band too
--   chance [share]: the overlap that two unrelated maps would have, adversarial_k / n
with

counted as (
    select
        dataset,
        model,
        method,
        attack,
        n,
        len(list_filter(places, lambda place: place < checked_band(adversarial_k))) as shared
    from adversarial_places(original_k)
)

select
    dataset,
    model,
    method,
    attack,
    original_k::integer as original_k,
    adversarial_k::integer as adversarial_k,
    count(*) as pairs,
    sum(shared) / (pairs * least(original_k::integer, n)) as overlap,
    least(adversarial_k, n) / n as chance
from counted
group by dataset, model, method, attack, n
order by dataset, model, method, attack
