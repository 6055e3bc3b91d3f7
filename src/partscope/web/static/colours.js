// Colours of parts, which stay apart for readers with a colour vision deficiency (Okabe and Ito first).

const COLOURS = [
  "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#0000ff",
  "#aaffaa", "#770000", "#661144", "#3322aa", "#6677ff", "#77ffff", "#66bb66", "#99ddbb",
];

export const colour = (index) => COLOURS[index % COLOURS.length];
