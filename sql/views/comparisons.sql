-- Each pair of an attack that has controls, or maps of the 2 x 2 design, held against its original in every
-- way that the lake has maps for.
--
-- Grain: one row per method, pair (attack, target, image_id), comparison and band (1 % and 10 %), maps ok.
-- The original's map, explained for its label, is compared with that of
--   adversarial: the adversarial example, explained for its target; image and question differ
--   image: the adversarial example, explained for the label; the image differs
--   question: the original, explained for the target; the question differs. LRP starts from the logit, which
--     is negative for most other classes: where just one of the two is negative, the sign is turned
--   question as stored: the same, no sign turned
--   noise: the original with noise as large as the attack's change, explained for the label
--   reverse: the original moved the other way, explained for its class, as all that follow
--   path F: the original moved by the fraction F of the change
--   darkened: the original with many components an 8-bit level lower
--   round, floor: the adversarial example, delivered in floats, put on 8-bit levels
--   other image of the class, other image: another original, explained for its own label; once an image,
--     with no target: what maps share that have nothing but the network, and the class, in common
-- `overlap` is the share of the original's top components that are among the other map's, `is_target` whether
-- the other map explains the target, `is_tied` whether at the band's edge more than a tenth of it ties.
with

controlled as (
    select control_of as attack from attacks
    where control_of is not null
    union
    select subject as attack from relevance
    where subject != 'original' and explains = 'label'
),

whose as (
    select
        attack as subject,
        coalesce(control_of, attack) as attack,
        control_of is not null as is_control,
        algorithm,
        if(algorithm in ('path', 'reverse'), fraction, null) as fraction
    from attacks
    where coalesce(control_of, attack) in (from controlled)
),

subjects as (
    select
        ranks.*,
        whose.attack,
        whose.fraction,
        case
            when whose.algorithm = 'path' and whose.is_control then 'path ' || whose.fraction
            when whose.is_control then whose.algorithm
            when ranks.explains = 'target' then 'adversarial'
            else 'image'
        end as comparison,
        false as turns_sign
    from compared_ranks as ranks
    inner join whose using (subject)
),

questions as (
    select
        ranks.*,
        pairs.attack,
        null::double as fraction,
        turned.comparison,
        turned.turns_sign
        and ranks.is_flipped
        and regexp_matches(ranks.method, '^(published-)?lrp-') as turns_sign
    from compared_ranks as ranks
    inner join attacked as pairs using (dataset, model, target, image_id)
    cross join (values ('question', true), ('question as stored', false)) as turned (comparison, turns_sign)
    where ranks.subject = 'original' and pairs.status = 'success' and pairs.attack in (from controlled)
),

attacked_images as (
    select distinct
        dataset,
        model,
        attack,
        image_id
    from attacked
    where status = 'success' and attack in (from controlled)
),

others as (
    select
        besides.dataset,
        besides.model,
        besides.method,
        images.attack,
        besides.image_id,
        besides.label,
        besides.kind as comparison,
        besides.n,
        besides.tied_1,
        besides.tied_10,
        'label' as explains,
        null::integer as target,
        null::double as fraction,
        false as turns_sign,
        len(list_filter(besides.places[:besides.k_1], lambda place: place < besides.k_1)) as shared_1,
        len(list_filter(besides.places, lambda place: place < len(besides.places))) as shared_10
    from other_images as besides
    inner join attacked_images as images using (dataset, model, image_id)
),

together as (
    select * from subjects
    union all by name
    select * from questions
    union all by name
    select * from others
)

select
    together.dataset,
    together.model,
    together.method,
    together.attack,
    together.target,
    together.image_id,
    together.label,
    together.comparison,
    together.fraction,
    bands.band,
    bands.place,
    band_size(bands.share, together.n) as k,
    band_size(bands.share, together.n) / together.n::double as chance,
    together.explains = 'target' as is_target,
    case
        when bands.place = 1 then if(together.turns_sign, together.opposed_1, together.shared_1)
        else if(together.turns_sign, together.opposed_10, together.shared_10)
    end / band_size(bands.share, together.n)::double as overlap,
    if(bands.place = 1, together.tied_1, together.tied_10)
    > 0.1 * band_size(bands.share, together.n) as is_tied
from together
cross join (values (1, '1 %', 0.01::double), (2, '10 %', 0.1::double)) as bands (place, band, share)
