-- Does the map jump where the decision turns? On the straight way from original to adversarial example, the
-- change of the map across the interval in which the class changes, against that across the other intervals.
--
-- The change across an interval is one minus the overlap of the maps at its two ends, each explained for the
-- class that the network takes it for, per unit of the way. Neighbours are compared, not each point with the
-- original: a map that drifts evenly changes as much in every interval, while its overlap with the original
-- falls steeply at first and hardly later. A pair counts where all points of the way have a map.
--
-- Inputs: relevance, adversarials, attacks (through measured_means)
-- Grain: one row per dataset, model, method, attack and band
-- Paper: none
-- Columns:
--   band: 1 % or 10 %, of both maps
--   pairs: pairs of which every point of the way has an ok map
--   images: their images, the unit of all intervals
--   tied_pairs: pairs of which at some point more than a tenth of the band ties at its edge
--   turn [share per way]: mean change where the class changes, per unit of the way
--   turn_low [share per way]: lower end of its 95 % interval, percentiles of a bootstrap over images
--   turn_high [share per way]: upper end
--   rest [share per way]: mean change across the pair's other intervals
--   rest_low [share per way]: lower end of its 95 % interval
--   rest_high [share per way]: upper end
--   jump [share per way]: turn less rest
--   jump_low [share per way]: lower end of its 95 % interval
--   jump_high [share per way]: upper end
--   verdict: ties (no verdict at this k), jumps or dips (the interval of jump lies on one side of 0) or even
with

measures as (
    select
        dataset,
        model,
        method,
        attack,
        comparison as band,
        max(pairs) as pairs,
        max(images) as images,
        max(tied_pairs) as tied_pairs,
        max(mean) filter (where measure = 'turn') as turn,
        max(mean_ends) filter (where measure = 'turn') as turn_ends,
        max(mean) filter (where measure = 'rest') as rest,
        max(mean_ends) filter (where measure = 'rest') as rest_ends,
        max(mean) filter (where measure = 'jump') as jump,
        max(mean_ends) filter (where measure = 'jump') as jump_ends
    from measured_means
    where kind = 'path'
    group by all
)

select
    dataset,
    model,
    method,
    attack,
    band,
    pairs,
    images,
    tied_pairs,
    turn,
    turn_ends[1] as turn_low,
    turn_ends[2] as turn_high,
    rest,
    rest_ends[1] as rest_low,
    rest_ends[2] as rest_high,
    jump,
    jump_ends[1] as jump_low,
    jump_ends[2] as jump_high,
    case
        when tied_pairs > 0.1 * pairs then 'ties'
        when jump_ends[1] > 1e-9 then 'jumps'
        when jump_ends[2] < -1e-9 then 'dips'
        else 'even'
    end as verdict
from measures
order by dataset, model, method, attack, band
