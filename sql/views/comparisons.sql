-- The pairs of an attack that has controls, or maps of the 2 x 2 design: two maps each, and what they share.
--
-- Grain: one row per method, pair (attack, target, image_id), comparison and band (1 % and 10 %), maps ok.
-- x is the original, x' the adversarial example, y the label, t the target; R(x, y) is a map of x that
-- explains y.
-- The original's map R(x, y) is compared with
--   adversarial: R(x', t); image and question differ
--   image: R(x', y); the image differs
--   question: R(x, t); the question differs
--   noise: that of the original with noise as large as the attack's change, explained for the label
--   reverse: that of the original moved the other way, explained for its class, as those that follow
--   path F: that of the original moved by the fraction F of the change
--   darkened: that of the original with many components an 8-bit level lower
--   other image of the class, other image: that of another original, explained for its own label; once an
--     image, with no target: what maps share that have nothing but the network, and the class, in common; see
--     other_images
-- The adversarial example's map R(x', t) is compared with
--   question at the adversarial image: R(x', y)
--   image at the target: R(x, t)
--   other target: that of the same image's example for the next target, around in order
--   round, floor: that of the example, delivered in floats, put on 8-bit levels; explained for its class
-- and crossed: R(x', y) with R(x, t).
-- LRP starts from a logit, which is negative for most classes but the image's own. Where such maps take part
-- and turn with it (turns_with_logit), a comparison is of maps multiplied by the sign of their logit, and
-- there is a second one, `... as stored`, of maps as they are. `overlap` is the share of the top components
-- of one map among the other's, `is_target` whether the map that is compared explains the target, `is_tied`
-- whether at the band's edge more than a tenth of it ties.
with

-- of maps of examples
designs (explains, reference, comparison, is_of_design) as (
    values
    ('target', 'original', 'adversarial', false),
    ('label', 'original', 'image', true),
    ('target', 'image', 'question at the adversarial image', true),
    ('target', 'question', 'image at the target', true),
    ('label', 'question', 'crossed', true),
    ('target', 'other target', 'other target', false)
),

of_examples as (
    select
        ranks.*,
        whose.attack,
        null::double as fraction,
        designs.comparison,
        designs.is_of_design
    from compared_ranks as ranks
    inner join attack_subjects as whose using (subject)
    inner join designs using (explains, reference)
    where not whose.is_control
),

of_controls as (
    select
        ranks.*,
        whose.attack,
        whose.fraction,
        whose.kind as comparison,
        false as is_of_design
    from compared_ranks as ranks
    inner join attack_subjects as whose using (subject)
    where
        whose.is_control
        and ranks.reference = if(whose.algorithm in ('round', 'floor'), 'example', 'original')
),

of_questions as (
    select
        ranks.*,
        pairs.attack,
        null::double as fraction,
        'question' as comparison,
        true as is_of_design
    from compared_ranks as ranks
    inner join attacked as pairs using (dataset, model, target, image_id)
    where
        ranks.subject = 'original'
        and pairs.status = 'success'
        and pairs.attack in (from controlled_attacks)
),

of_pairs as (
    select * from of_examples
    union all by name
    select * from of_controls
    union all by name
    select * from of_questions
),

of_others as (
    select
        *,
        null::integer as target,
        'label' as explains,
        null::double as fraction,
        shared_1 as counted_1,
        shared_10 as counted_10
    from other_images
),

together as (
    select
        *,
        if(is_of_design and turns_with_logit(method), signed_1, shared_1) as counted_1,
        if(is_of_design and turns_with_logit(method), signed_10, shared_10) as counted_10
    from of_pairs
    union all by name
    select
        * replace (comparison || ' as stored' as comparison),
        shared_1 as counted_1,
        shared_10 as counted_10
    from of_pairs
    where is_of_design
    union all by name
    select * from of_others
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
    if(bands.place = 1, together.counted_1, together.counted_10)
    / band_size(bands.share, together.n)::double as overlap,
    if(bands.place = 1, together.tied_1, together.tied_10)
    > 0.1 * band_size(bands.share, together.n) as is_tied
from together
cross join (values (1, '1 %', 0.01::double), (2, '10 %', 0.1::double)) as bands (place, band, share)
