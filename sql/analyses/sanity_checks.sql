-- Does a method's map depend on what the network has learnt? The map of each original by the network with its
-- weights drawn anew, from the output layer down to all of them, against that by the trained network.
--
-- Inputs: relevance, randomisations, images (through measured_means)
-- Grain: one row per dataset, model, method, depth and measure
-- Paper: none; model parameter randomisation of Adebayo et al. (2018, Sanity checks for saliency maps)
-- Columns:
--   subject: whose maps: of the network with weights drawn anew
--   depth: layers whose weights are drawn anew, counted from the output
--   of_depth: layers that have weights
--   layer: the last one that was drawn anew
--   measure: overlap at 1 % or 10 %, spearman (of stored ranks), spearman of magnitudes (the paper's with and
--     without absolute values) or ssim
--   images: images that both maps are ok of, and the measure is defined
--   tied_images: of them, those of which more than a tenth of the band ties at its edge
--   chance: what the measure is of maps whose components stand in another order; null where that is unknown
--   mean: mean over images
--   mean_low: lower end of its 95 % interval, percentiles of a bootstrap over images
--   mean_high: upper end
--   kept [share]: (mean - chance) / (1 - chance): 0, no more in common than by chance; 1, the same map
--   verdict: of overlap at 10 % where all weights are drawn anew: depends on the weights (the interval of
--     kept ends below 0.1), keeps its map (it begins above 0.5), depends in part, or ties (no verdict)
with

means as (
    select
        measured.*,
        networks.depth,
        networks.of_depth,
        networks.layer,
        (measured.mean - measured.chance) / nullif(1 - measured.chance, 0) as kept,
        list_transform(
            measured.mean_ends, lambda ending: (ending - measured.chance) / nullif(1 - measured.chance, 0)
        ) as kept_ends
    from measured_means as measured
    inner join randomisations as networks
        on measured.model = networks.model and measured.comparison = networks.subject
    where measured.kind = 'sanity'
)

select
    dataset,
    model,
    method,
    comparison as subject,
    depth,
    of_depth,
    layer,
    measure,
    images,
    tied_pairs as tied_images,
    chance,
    mean,
    mean_ends[1] as mean_low,
    mean_ends[2] as mean_high,
    kept,
    case
        when measure != 'overlap at 10 %' or depth < of_depth then null
        when tied_pairs > 0.1 * pairs then 'ties'
        when kept_ends[2] < 0.1 then 'depends on the weights'
        when kept_ends[1] > 0.5 then 'keeps its map'
        when kept is not null then 'depends in part'
    end as verdict
from means
order by dataset, model, method, depth, place
