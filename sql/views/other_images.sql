-- Each original beside another: of the same class, and of any; what maps share that have no image in common.
--
-- Grain: one row per method, original and kind, both maps ok. Who stands beside whom is drawn by a digest of
-- the image's id, the same every time. `places` are the ranks in the other's map of the original's 10 % most
-- relevant components, most relevant first; `k_1` is how many are in the top 1 %.
with

drawn as (
    select
        dataset,
        model,
        method,
        image_id,
        lead(image_id) over same_class as of_class,
        first_value(image_id) over same_class as first_of_class,
        lead(image_id) over everything as of_any,
        first_value(image_id) over everything as first_of_any
    from comparable_originals
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
        'other image of the class' as kind,
        coalesce(of_class, first_of_class) as other_id
    from drawn
    union all
    select
        dataset,
        model,
        method,
        image_id,
        'other image' as kind,
        coalesce(of_any, first_of_any) as other_id
    from drawn
)

select
    besides.dataset,
    besides.model,
    besides.method,
    besides.image_id,
    besides.kind,
    others.label,
    originals.n,
    band_size(0.01, originals.n) as k_1,
    greatest(originals.ties_at_31, others.ties_at_31) as tied_1,
    greatest(originals.ties_at_307, others.ties_at_307) as tied_10,
    list_select(others.rank, originals.components)::integer[] as places
from besides
inner join original_top as originals using (dataset, model, method, image_id)
inner join comparable_originals as others
    on
        besides.dataset = others.dataset
        and besides.model = others.model
        and besides.method = others.method
        and besides.other_id = others.image_id
where besides.other_id != besides.image_id
