-- A number for each series of maps, to group values by: names would be hashed for each of billions of values.
--
-- Grain: one row per dataset, model, method, subject, explains and target that has a map.
select distinct
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    series_number(dataset, model, method, subject, explains, target) as series
from relevance
