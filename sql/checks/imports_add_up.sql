-- Every file of an imported attack became an adversarial example or was left out for one reason.
with

stored as (
    select
        dataset,
        model,
        attack,
        count(*) as pairs
    from adversarials
    group by all
)

select
    imports.import_id,
    imports.files,
    imports.imported,
    stored.pairs
from imports
left join stored using (dataset, model, attack)
where
    imports.files is distinct from
    imports.imported + imports.own_class + imports.no_image + imports.misclassified
    + imports.wrong_size + imports.unreadable + imports.misnamed
    or stored.pairs > imports.imported
