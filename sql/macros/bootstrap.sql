-- The bootstrap over images: each replicate draws images with replacement, in the Poisson form of it: each
-- image counts as often as a number of mean 1 says, so that replicates are summed up in one scan (Hanley and
-- MacGibbon 2006, Computer Methods and Programs in Biomedicine 83:57-62). An image takes all its pairs along.

-- Replicates drawn.
create or replace macro bootstrap_replicates() as 1000;

-- A number in [0, 1) for an image and a replicate: the same wherever and by whatever version it is asked for.
create or replace macro bootstrap_draw(image_id, replicate) as
md5_number_lower(image_id || ' ' || replicate)::double / 18446744073709551616;

-- How often a replicate counts an image: the quantile of the Poisson distribution of mean 1 at its draw.
create or replace macro poisson_weight(draw) as
(draw >= 0.36787944117144233)::integer + (draw >= 0.73575888234288467)::integer
+ (draw >= 0.91969860292860584)::integer + (draw >= 0.98101184312384626)::integer
+ (draw >= 0.99634015317265635)::integer + (draw >= 0.99940581518241833)::integer
+ (draw >= 0.99991675885071196)::integer + (draw >= 0.99998975080332535)::integer
+ (draw >= 0.99999887479740201)::integer + (draw >= 0.99999988857452168)::integer;
