-- What share of the relevance is zero or nearly so, all methods averaged?
--
-- Inputs: relevance (maps of status ok; through relevance_moments)
-- Grain: one row per dataset, model, subject and explains; none where no method has an ok map
-- Paper: section on the distribution of relevance (0.36 % of the values of adversarial examples and 0.24 % of
-- those of originals are exactly zero)
-- Columns:
--   methods: methods with ok maps, each of which counts the same
--   share_zero [share]: mean over methods of the share of values exactly zero
--   share_near_zero [share]: mean over methods of the share of values from -0.001 to 0.001, zero included
--   positive_near_zero [share]: mean over methods of the share of the values above zero that are up to 0.001
--   negative_near_zero [share]: mean over methods of the share of the values below zero that are from -0.001
select
    dataset,
    model,
    subject,
    explains,
    count(*) as methods,
    avg(share_zero) as share_zero,
    avg(share_near_zero) as share_near_zero,
    avg(positive_near_zero) as positive_near_zero,
    avg(negative_near_zero) as negative_near_zero
from relevance_moments
where maps > 0
group by all
order by dataset, model, subject, explains
