-- By how much each pair's map changes on the way from the original to the adversarial example: where the
-- class changes (turn), elsewhere (rest), and the one less the other (jump); see path_jump.
--
-- Grain: one row per method, attack, band (as comparison), pair (target, image_id) and measure; columns as in
-- measured_pairs.
with

-- neighbours on the way from the original to the adversarial example
steps as (
    select
        ranks.dataset,
        ranks.model,
        ranks.method,
        whose.attack,
        ranks.target,
        ranks.image_id,
        ranks.explains,
        if(whose.is_control, whose.fraction, 1) as fraction,
        ranks.reference,
        1 - ranks.shared_1 / band_size(0.01, ranks.n)::double as change_1,
        1 - ranks.shared_10 / band_size(0.1, ranks.n)::double as change_10,
        ranks.tied_1 > 0.1 * band_size(0.01, ranks.n) as is_tied_1,
        ranks.tied_10 > 0.1 * band_size(0.1, ranks.n) as is_tied_10
    from compared_ranks as ranks
    inner join attack_subjects as whose using (subject)
    where whose.algorithm = 'path' or (not whose.is_control and ranks.explains = 'target')
),

first_points as (
    select
        attack,
        min(fraction) as fraction,
        count(*) + 1 as intervals
    from attack_subjects
    where is_control and algorithm = 'path'
    group by attack
),

intervals as (
    select
        steps.*,
        first_points.intervals,
        steps.fraction - coalesce(
            lag(steps.fraction) over way, 0
        ) as length,
        steps.explains = 'target' and coalesce(lag(steps.explains) over way, 'label') = 'label' as turns
    from steps
    inner join first_points using (attack)
    where steps.reference = if(steps.fraction = first_points.fraction, 'original', 'step')
    window
        way as (
            partition by steps.dataset, steps.model, steps.method, steps.attack, steps.target, steps.image_id
            order by steps.fraction
        )
),

turned as (
    select
        *,
        turns and row_number() over (
            partition by dataset, model, method, attack, target, image_id, turns order by fraction
        ) = 1 as is_turn,
        count(*) over (partition by dataset, model, method, attack, target, image_id) as known
    from intervals
),

ways as (
    select
        dataset,
        model,
        method,
        attack,
        target,
        image_id,
        bands.band,
        avg(if(bands.place = 1, change_1, change_10) / length) filter (where is_turn) as turn,
        avg(if(bands.place = 1, change_1, change_10) / length) filter (where not is_turn) as rest,
        bool_or(if(bands.place = 1, is_tied_1, is_tied_10)) as is_tied
    from turned
    cross join (values (1, '1 %'), (2, '10 %')) as bands (place, band)
    where known = intervals
    group by all
)

select
    'path' as kind,
    dataset,
    model,
    method,
    attack,
    target,
    image_id,
    band as comparison,
    null::double as fraction,
    unnest(['turn', 'rest', 'jump']) as measure,
    unnest(range(3)) as place,
    unnest([turn, rest, turn - rest]) as value,
    null::double as noise,
    null::double as chance,
    is_tied
from ways
where turn is not null and rest is not null
