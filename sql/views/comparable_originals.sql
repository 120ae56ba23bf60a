-- The maps of originals that adversarial maps are compared with: explained for their label, and ok.
--
-- Grain: one row per method and original.
select *
from relevance
where subject = 'original' and explains = 'label' and status = 'ok'
