-- Images have height * width * channels values.
--
-- That maps and adversarial examples of a dataset have as many shows in the schemas of their files, which are
-- looked at before any row is (sql/files.py).
select
    dataset,
    image_id,
    height,
    width,
    channels,
    len(pixels) as pixel_values
from images
where pixel_values is distinct from height * width * channels
