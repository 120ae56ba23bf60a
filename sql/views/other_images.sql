-- Originals beside one another: of the same class, and of any; what maps share that have no image in common.
--
-- Grain: one row per method, attack that has controls, original and comparison, both maps ok. They are of the
-- images of the attack's successes, at most 1,000 of each method: which ones, and who stands beside whom, is
-- drawn by a digest of the image's id, the same every time. Each image stands beside two others, once on
-- either side: a bootstrap that draws one side takes them for more independent than they are. `shared_1` and
-- `shared_10` are the components in the top 1 % and 10 % of both maps.
with

attacked_images as (
    select distinct
        dataset,
        model,
        attack,
        image_id
    from attacked
    where status = 'success' and attack in (from controlled_attacks)
),

known as (
    select
        dataset,
        model,
        method,
        image_id,
        label
    from comparable_originals
),

sampled as (
    select known.*
    from known
    semi join attacked_images using (dataset, model, image_id)
    qualify row_number() over (
        partition by known.dataset, known.model, known.method order by md5(known.image_id::varchar)
    ) <= 1000
),

drawn as (
    select
        *,
        lead(image_id) over same_class as of_class,
        first_value(image_id) over same_class as first_of_class,
        lead(image_id) over everything as of_any,
        first_value(image_id) over everything as first_of_any
    from sampled
    window
        same_class as (
            partition by dataset, model, method, label order by md5(image_id::varchar)
            rows between unbounded preceding and unbounded following
        ),
        everything as (
            partition by dataset, model, method order by md5(image_id::varchar)
            rows between unbounded preceding and unbounded following
        )
),

besides as (
    select
        dataset,
        model,
        method,
        image_id,
        'other image of the class' as comparison,
        coalesce(of_class, first_of_class) as other_id
    from drawn
    union all
    select
        dataset,
        model,
        method,
        image_id,
        'other image' as comparison,
        coalesce(of_any, first_of_any) as other_id
    from drawn
),

-- the drawn ones are few: held, while the maps of all originals pass by
others as materialized (
    select
        besides.*,
        maps.label,
        maps.rank,
        maps.ties_at_31,
        maps.ties_at_307
    from comparable_originals as maps
    inner join besides
        on
            maps.dataset = besides.dataset
            and maps.model = besides.model
            and maps.method = besides.method
            and maps.image_id = besides.other_id
    where besides.other_id != besides.image_id
)

select
    others.dataset,
    others.model,
    others.method,
    images.attack,
    others.image_id,
    others.comparison,
    others.label,
    len(maps.rank) as n,
    shared_top(maps.rank, others.rank, band_size(0.01, len(maps.rank))) as shared_1,
    shared_top(maps.rank, others.rank, band_size(0.1, len(maps.rank))) as shared_10,
    greatest(maps.ties_at_31, others.ties_at_31) as tied_1,
    greatest(maps.ties_at_307, others.ties_at_307) as tied_10
from comparable_originals as maps
inner join others using (dataset, model, method, image_id)
inner join attacked_images as images using (dataset, model, image_id)
