"""Words that make the keys of needles: an adjective and a noun each."""

ADJECTIVES = (  # noqa: SIM905  (a word to a line would make 130 lines)
    "amber ancient bright broken brown clever cold copper curious distant early eastern empty fast gentle golden green "
    "grey heavy hidden hollow honest humble iron late little lonely loud lucky narrow northern old pale patient plain "
    "proud purple quiet rapid red round rusty sharp short silent silver slow small smooth solid southern spare steep "
    "strange tall thin tidy warm western white wide wild wooden young"
).split()
NOUNS = (  # noqa: SIM905
    "anchor apple barrel basket beacon bell boat bottle bridge bucket button candle canyon castle chair circle clock "
    "cloud compass corner crane desk door eagle engine falcon feather fence field flute forest fountain garden gate "
    "hammer harbor hill island kettle ladder lamp lantern lemon letter magnet mill mirror mountain nest orchard otter "
    "paper pencil pillow planet pocket river saddle sailor shelf spoon table tower tunnel valley violin wagon"
).split()
