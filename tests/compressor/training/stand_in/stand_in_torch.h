// What only the stand-in for a torch install has.
constexpr int kStandIn = 7;
