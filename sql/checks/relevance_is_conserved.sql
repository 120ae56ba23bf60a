-- A map of LRP and what was absorbed on the way to it make up the start logit, to the rounding of float32.
--
-- Terms of either sign cancel, near-singular rules by factors of thousands, and each is rounded: the gap is
-- compared with the largest of start, sum and absorbed parts, and with the sum of all |relevance|. No gap of
-- 63,700 maps of the paper's released examples, by eleven rules, was above a 14th of this bound; an absorbed
-- part that is left out goes beyond it in most maps where it is a thousandth of the start.
--
-- Unit: map
with

lrp as (
    select method from methods
    where convention is not null
),

accounted as (
    select
        dataset,
        model,
        method,
        subject,
        explains,
        target,
        image_id,
        start,
        scale,
        relevance,
        relevance_sum + absorbed_bias + absorbed_stabiliser + absorbed_empty as accounted_for,
        abs(accounted_for - start) as gap,
        1e-4::double
        * greatest(
            abs(start), abs(relevance_sum), abs(absorbed_bias), abs(absorbed_stabiliser), abs(absorbed_empty)
        ) as tolerance
    from relevance
    semi join lrp using (method)
    where status != 'non_finite'
)

select
    dataset,
    model,
    method,
    subject,
    explains,
    target,
    image_id,
    start,
    accounted_for
from accounted
where
    isfinite(accounted_for)
    -- few maps come as far as to the sum over their values
    and case
        when gap > tolerance
            then
                gap
                > tolerance
                + 1e-6::double * scale * list_sum(list_transform(relevance, lambda value: abs(value::double)))
        else false
    end
