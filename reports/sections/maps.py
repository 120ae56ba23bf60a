"""Relevance maps of originals and adversarial examples, side by side."""

from __future__ import annotations

from reports import sentences
from reports.parts import Figure, Panel, Source, by_convention


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    from reports.charts.maps import map_gallery

    end, facts = source.end, source.facts
    shown, pairs = source.of_attack("map_gallery"), source.of_attack("pair_gallery")
    title = "Maps of originals and adversarial examples (Figs. 5 and 6)"
    if shown.is_empty():
        return [Figure(f"maps{end}", title, "map_gallery", "No successful pair has maps to show.")]
    panels = by_convention(shown, lambda part, _: Panel(chart=map_gallery(part, pairs, facts)))
    return [Figure(f"maps{end}", title, "map_gallery", sentences.maps(shown), panels)]
