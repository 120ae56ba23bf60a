-- Predictions, adversarial examples and maps carry the label of their image, and their image exists.
with

labelled as (
    select
        'predictions' as in_table,
        dataset,
        image_id,
        label
    from predictions
    union all
    select
        'adversarials' as in_table,
        dataset,
        image_id,
        label
    from adversarials
    union all
    select
        'relevance' as in_table,
        dataset,
        image_id,
        label
    from relevance
)

select distinct
    labelled.in_table,
    labelled.dataset,
    labelled.image_id,
    labelled.label,
    images.label as label_of_image
from labelled
left join images using (dataset, image_id)
where images.label is distinct from labelled.label
